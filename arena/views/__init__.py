"""HTTP: parse, call a use-case, serialise. No rule of the arena lives here."""
