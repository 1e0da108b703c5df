"""Sleep, where libfaketime is preloaded: told to leave the clock since boot alone, it refuses what ``time.sleep`` asks of the kernel."""

import select
import time

time.sleep = lambda seconds: (select.select((), (), (), seconds), None)[1]
