# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document: request bodies are read by ``body``, not by FastAPI, and are described here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

_REF = "#/components/schemas/{model}"
_MODELS: dict[str, type[BaseModel]] = {}


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Return ``openapi_extra`` of a route whose body is a JSON object of ``model``."""
    _MODELS[model.__name__] = model
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def document_of(app: FastAPI, served: str) -> Callable[[], dict[str, Any]]:
    """Return a replacement of ``app.openapi`` that includes the models of ``takes``. ``served``: the one value of their field ``model``."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            for name, model in _MODELS.items():
                schema = model.model_json_schema(ref_template=_REF)
                schemas.update(schema.pop("$defs", {}))
                if "model" in schema["properties"]:
                    schema["properties"]["model"]["enum"] = [served]
                schemas[name] = schema
            app.openapi_schema = made
        return app.openapi_schema

    return document
