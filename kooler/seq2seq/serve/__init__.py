"""`kooler serve`: titles over HTTP, on this machine unless told otherwise.

In reading order, one file a stage:

    limits.py      what one request, and all of them together, may ask for
    query.py       the body of a request → texts and options, or a refusal with its reason
    shapes.py      texts → titles in few fixed shapes, each compiled before the first request
    worker.py      the one thread that owns the model; its queue, its batches
    metrics.py     what Prometheus reads
    openapi.py     the description of the API, and its page
    app.py         the paths, from body to answer
    server.py      the process: address, start, signals, end

No name is exported: importing this package must not need starlette or uvicorn.
"""
