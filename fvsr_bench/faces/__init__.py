"""Everything about faces: finding them (`detector`), telling them apart (`embedder`)."""
