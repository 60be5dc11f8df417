"""The commands, a module each: ``add(subparsers)`` declares it and names the function that runs it."""
