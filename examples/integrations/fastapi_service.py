"""A service that predicts: the network of a model file behind FastAPI.

    pip install fastapi uvicorn
    cd examples/integrations
    MODEL=digits.safetensors uvicorn --factory fastapi_service:make_app

It is ready when it has started: kernels are compiled, or loaded, before the first request. Handlers
are plain functions, which FastAPI calls in threads: a network predicts in several at a time. One
thread for each request is best, as there are many of these.
"""

import os
from contextlib import asynccontextmanager

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import fastmlp


class Rows(BaseModel):
    """Rows to predict for, a list of numbers each."""

    rows: list[list[float]]


class Answer(BaseModel):
    """The most probable class of each row, and the probabilities of all."""

    classes: list[int]
    probabilities: list[list[float]]


def make_app(path: str | None = None) -> FastAPI:
    """The service for the model file at `path`, or at the place that MODEL names."""
    net = fastmlp.MLP.load(os.environ["MODEL"] if path is None else path)

    @asynccontextmanager
    async def life(app: FastAPI):
        net.predict(np.zeros((1, net.layer_sizes[0]), net.dtype), n_threads=1)
        yield

    app = FastAPI(title="fastmlp", lifespan=life)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"network": "-".join(map(str, net.layer_sizes)), "fastmlp": fastmlp.__version__}

    @app.post("/predict")
    def predict(given: Rows) -> Answer:
        try:
            chances = net.predict_proba(given.rows, n_threads=1)
        except (TypeError, ValueError) as error:  # one sentence that says what is wrong with X
            raise HTTPException(422, str(error)) from None
        return Answer(
            classes=chances.argmax(axis=1).tolist(), probabilities=chances.astype(float).tolist()
        )

    return app
