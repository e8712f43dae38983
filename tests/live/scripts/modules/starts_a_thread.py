"""An import that must not be forked."""

import threading

threading.Thread(target=threading.Event().wait, name="background", daemon=True).start()
