"""AWS in domain terms: the only importer of boto."""
