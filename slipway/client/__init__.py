"""The client of a served model, waiting or asyncio, and the commands ask and classify.

Reads: texts; answers of a server over HTTP or gRPC.
Writes: JSON lines on the output.
"""
