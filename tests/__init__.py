"""The tests. What is set here is set before NumPy is imported, and for every process that tests start."""

import os

# Workers of pytest share the cores: threads that wait for small problems of linear algebra would only take time.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
