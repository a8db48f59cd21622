"""Do today's good pictures still look like those of training?

`selection.py` chooses the pictures of a file of scores, `betting.py` has the sequential test,
`check.py` compares, `drawing.py` draws drift.png. Needs the file only, no model.
"""
