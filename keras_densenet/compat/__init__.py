"""What is private in other people's packages, a module for each: nothing else in here imports or names such things.

`tests/test_compat.py` fails where one of them has moved, and where the rest of the package uses another one.
"""
