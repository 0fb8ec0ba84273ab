"""Parts of ``sslbolts fit|validate|test|predict``: checkpoints, configurations, folders and files of a run."""
