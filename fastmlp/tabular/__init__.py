"""Networks for tables: what columns become, how networks are made, trained and put together."""
