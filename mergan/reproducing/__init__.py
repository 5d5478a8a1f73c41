"""The tables of the documentation: their trainings and searches, made again from conf/reproduce/."""
