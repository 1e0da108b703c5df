"""The local side: fetched versions under ``assets_dir``, scanning a source, laying out a copy, the journal of pushes."""
