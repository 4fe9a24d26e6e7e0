"""The control maps of units, which the web UI's ControlNet extension appends to the pictures of an answer.

A unit with `save_detected_map` false has none, and with the option `control_net_no_detectmap` there are none at all, as
in https://github.com/Mikubill/sd-webui-controlnet. Units that are IP-Adapters have none here.
"""

from __future__ import annotations

from collections.abc import Sequence

from imagegen.api.a1111.controlnet import find_units
from imagegen.api.a1111.requests import Txt2ImgFields
from imagegen.preprocessing import make_request_map
from imagegen.schema.events import Result
from imagegen.schema.receipt import UsedControl
from imagegen.service import Service


async def make_detected_maps(service: Service, body: Txt2ImgFields, result: Result, is_left_out: bool) -> list[str]:
    """Returns the ids of the stored maps of a request's units, in the size of its pictures before any enlargement.

    `is_left_out` is the user's option, unless the request has its own. Raises what a worker that makes maps raises.
    """
    own = body.override_settings and body.override_settings.control_net_no_detectmap
    if not body.send_images or (is_left_out if own is None else own):
        return []
    receipt = result.pictures[0].receipt
    size = receipt.width, receipt.height
    return [await make_request_map(service, control, size) for control in list_shown_controls(body, receipt.controls)]


def list_shown_controls(body: Txt2ImgFields, controls: Sequence[UsedControl]) -> list[UsedControl]:
    """Returns the controls whose units have a map in the answer. `controls` are those of all units, in their order."""
    units = [unit.fields for unit in find_units(body.alwayson_scripts) if not unit.is_reference]
    return [
        control for unit, control in zip(units, controls, strict=True) if unit.get("save_detected_map") is not False
    ]
