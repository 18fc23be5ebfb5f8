"""`kooler corpus`: pairs of texts and titles from what a user has.

git_history.py       body of a commit → its subject, in the order of time
docstrings.py        a function and the rest of its docstring → the summary line
apt_packages.py      description of a Debian package → its synopsis
(`corpus.py`         two columns of files)
    ↓ records
cleaning.py          white space, trailers, what is too short or too long, what is there twice
near_duplicates.py   which texts are nearly the same
splitting.py         train, dev, test; by time, or by chance; nothing near on both sides
profile.py           lengths, overlap, baselines, and whether it makes a title task
build.py             from records to three files
"""
