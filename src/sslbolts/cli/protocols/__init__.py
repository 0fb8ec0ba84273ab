"""The options of the protocols of ``sslbolts evaluate``, and how these are called with them."""
