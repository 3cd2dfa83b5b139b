# What the command line cannot say to every version of gunicorn: unknown settings are ignored here, and an error there.
control_socket_disable = True
