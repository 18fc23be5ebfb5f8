// Search in pages that are opened as files: there a browser starts no Worker, yet it runs scripts.
// So the search runs in a hidden frame, which has as much of a Worker as it asks for.
class FrameWorker extends EventTarget {
  constructor(address) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
    this.inside.importScripts = (...scripts) =>
      scripts.reduce((before, script) => before.then(() => this.load(script)), Promise.resolve());
    this.ready = this.load(address);
  }

  load(address) {
    const script = this.inside.document.createElement("script");
    script.src = address;
    return new Promise((done, failed) => {
      script.onload = done;
      script.onerror = failed;
      this.inside.document.body.append(script);
    });
  }

  postMessage(message) {
    const data = this.inside.structuredClone(message); // an array is one of the frame's arrays
    this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
  }
}

// By the second name the search knows that its other scripts lie beside its own.
if (location.protocol === "file:") window.Worker = window.IFrameWorker = FrameWorker;
