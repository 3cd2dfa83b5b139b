"""What gunicorn reads beside its command line."""

import logging

from config.logs import LOGGING

logging.captureWarnings(True)
logconfig_dict = LOGGING
access_log_format = '"%(r)s" %(s)s, %(b)s bytes, %(M)s ms'
