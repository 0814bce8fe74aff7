"""Experiments that anyone can run again: does a suspected cause explain a published number?"""
