"""Pictures for papers: one file a picture, each a function of plain data that returns a figure."""
