"""Many ranks as one job: their start under horovodrun, their cores, who failed first.

Reads: the job's directory: signs of life, failures, progress, horovodrun's log.
Writes: ranks.json there; lines for the person.
"""
