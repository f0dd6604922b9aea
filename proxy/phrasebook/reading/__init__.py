"""From YAML files to phrasebooks, and all that is wrong with them."""
