"""Parts of several verbs: the parser, short names, the network and the data of a command line."""
