"""
Settings and manifests -> findings: what will get something killed, before it does.

Pure. ``model`` says what a rule and a finding are, ``registry`` holds every rule, ``engine`` runs them. Each rule is
one row with its words, its source and two samples; its page in docs/reference/audit is written from the row.
"""
