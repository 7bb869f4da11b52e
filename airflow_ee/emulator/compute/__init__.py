"""Where pixels are computed: in this process, in others beside it, or not at all when they are known already."""
