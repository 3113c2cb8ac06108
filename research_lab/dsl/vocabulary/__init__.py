"""The functions of the language, a module a family."""
