"""What an expression's nodes evaluate to: images, collections, geometries, dates, filters, reducers."""
