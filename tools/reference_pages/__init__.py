"""The pages of docs/reference, by subject: each function yields the lines of one page, from a table of the code."""
