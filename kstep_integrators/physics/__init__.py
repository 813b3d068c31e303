"""The expensive method: asked, counted, kept, in this process or in others."""
