"""Studies of people's behaviour: participants, sessions, conditions; read `study_file.py` first."""
