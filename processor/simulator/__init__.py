"""An embedded Kafka broker and an AEP simulator, to run the processor without an Adobe account."""
