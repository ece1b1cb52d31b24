"""What operating systems do differently. Whatever needs to know on which one it runs asks here.

Only what is for Linux alone, the sandbox, begins with an assertion that this is Linux instead; it is imported
where that was found out before.
"""
