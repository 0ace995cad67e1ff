"""The official Python SDK against Moongate's OpenAI door.

Usage: sdk.py MOONGATE: starts that program on a free port with a data folder of its own and the built-in demo
model, and ends it. Every check is a function; the first that fails ends the run.
"""

import asyncio
import base64
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import openai
from openai import AsyncOpenAI, OpenAI

MODEL = "moongate/default"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WEATHER = {
    "name": "weather",
    "description": "Tells the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL = {"type": "function", "function": WEATHER}
FLAT_TOOL = {"type": "function", **WEATHER}


class Server:
    """Moongate on a port of its own; it can be killed and started again on the same data."""

    def __init__(self, program):
        self.program = program
        self.folder = tempfile.TemporaryDirectory()
        self.data = pathlib.Path(self.folder.name) / "data"
        self.config = pathlib.Path(self.folder.name) / "moongate.toml"
        self.config.write_text('[agents.default]\nmodel = "builtin/demo"\n')
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        command = [self.program, "--config", self.config, "--data", self.data]
        self.process = subprocess.Popen(
            [*command, "--listen", f"127.0.0.1:{self.port}", "serve"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=1)
                break
            except OSError:
                time.sleep(0.05)
        self.key = (self.data / "admin.key").read_text().strip()
        self.url = f"http://127.0.0.1:{self.port}/openai/v1"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def client(self, **more):
        return OpenAI(base_url=self.url, api_key=self.key, **more)


def user(content):
    return [{"role": "user", "content": content}]


def models(server):
    client = server.client()
    ids = [model.id for model in client.models.list()]
    assert MODEL in ids and "builtin/demo" in ids, ids
    assert client.models.retrieve(MODEL).id == MODEL


def chat(server):
    client = server.client()
    answer = client.chat.completions.create(model=MODEL, messages=user("hello there"))
    assert "> hello there" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens > 0
    assert answer._request_id.startswith("req_")
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=user("one"), extra_headers={"X-Moongate-Session": "sdk"}
    )
    session = raw.headers["x-moongate-session"]
    again = client.chat.completions.create(
        model=MODEL, messages=user("two"), extra_headers={"X-Moongate-Session": session}
    )
    assert "a conversation of 3 messages" in again.choices[0].message.content


def chat_streaming(server):
    client = server.client()
    pieces = client.chat.completions.create(
        model=MODEL, messages=user("/slow 1\n/long 30"), stream=True, stream_options={"include_usage": True}
    )
    pieces = list(pieces)
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text.endswith("word30."), text
    assert len(pieces) > 5 and pieces[-1].usage.completion_tokens > 0 and pieces[-1].choices == []
    with client.chat.completions.stream(model=MODEL, messages=user("/long 5")) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == "word1 word2 word3 word4 word5."


def chat_tools(server):
    client = server.client()
    asked = '/tool weather {"city": "Oslo"}\n/tool weather {"city": "Rome"}'
    for streams in [False, True]:
        messages = user(asked)
        if streams:
            with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as stream:
                for _ in stream:
                    pass
                choice = stream.get_final_completion().choices[0]
        else:
            choice = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0]
        assert choice.finish_reason == "tool_calls"
        calls = choice.message.tool_calls
        assert [call.function.arguments for call in calls] == ['{"city":"Oslo"}', '{"city":"Rome"}'], calls
        messages.append({"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"}) for call in calls]})
        for call, degrees in zip(calls, ["12", "20"]):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{degrees} degrees"})
        said = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content
        assert "12 degrees" in said and "20 degrees" in said, said


def chat_images(server):
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = server.client().chat.completions.create(model=MODEL, messages=user(content))
    assert "1 image" in answer.choices[0].message.content


def errors(server):
    client = server.client(max_retries=0)
    for kind, ask in [
        (openai.NotFoundError, lambda: client.chat.completions.create(model="gpt-x", messages=user("hi"))),
        (openai.BadRequestError, lambda: client.chat.completions.create(model=MODEL, messages=user("hi"), n=2)),
        (openai.NotFoundError, lambda: client.responses.retrieve("resp_x")),
        (openai.AuthenticationError, lambda: client.with_options(api_key="mg_no").models.list()),
        (openai.InternalServerError, lambda: client.chat.completions.create(model=MODEL, messages=user("/fail auth"))),
    ]:
        try:
            ask()
        except kind as error:
            assert error.request_id and error.body["message"], error
        else:
            raise AssertionError(f"no {kind}")
    try:
        for _ in client.chat.completions.create(model=MODEL, messages=user("/fail cut"), stream=True):
            pass
    except openai.APIError as error:
        assert error.message
    else:
        raise AssertionError("a stream that breaks off says so")


def retries(server):
    """The SDK tries again by itself what may work later, and what fails at once is not tried again."""
    began = time.monotonic()
    client = server.client(max_retries=2)
    try:
        client.chat.completions.create(model=MODEL, messages=user("/fail overloaded"))
    except openai.InternalServerError:
        pass
    assert time.monotonic() - began > 0.5, "it tried again"


def responses(server):
    client = server.client()
    first = client.responses.create(model=MODEL, input="hello there", instructions="Be kind.")
    assert "> hello there" in first.output_text and first.status == "completed"
    assert client.responses.retrieve(first.id) == first
    second = client.responses.create(model=MODEL, input="and more", previous_response_id=first.id)
    assert "a conversation of 3 messages" in second.output_text
    assert client.responses.input_items.list(second.id).data[0].content[0].text == "and more"
    client.responses.delete(second.id)
    try:
        client.responses.retrieve(second.id)
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("it was deleted")
    kept = client.responses.create(model=MODEL, input="hi", store=False)
    try:
        client.responses.retrieve(kept.id)
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("it was not stored")


def responses_streaming(server):
    client = server.client()
    with client.responses.stream(model=MODEL, input="/think a bit\n/slow 1\n/long 20", tools=[FLAT_TOOL]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text.endswith("word20.") and final.usage.output_tokens > 0
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers)), numbers
    assert final.output[0].type == "reasoning"


def responses_tools(server):
    client = server.client()
    asked = client.responses.create(model=MODEL, input='/tool weather {"city": "Oslo"}', tools=[FLAT_TOOL])
    call = next(item for item in asked.output if item.type == "function_call")
    output = [{"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}]
    answer = client.responses.create(model=MODEL, previous_response_id=asked.id, input=output, tools=[FLAT_TOOL])
    assert "12 degrees" in answer.output_text


def background(server):
    client = server.client()
    made = client.responses.create(model=MODEL, input="/slow 20\n/long 60", background=True)
    assert made.status in ("queued", "in_progress")
    while made.status in ("queued", "in_progress"):
        time.sleep(0.05)
        made = client.responses.retrieve(made.id)
    assert made.status == "completed" and made.output_text.endswith("word60.")
    slow = client.responses.create(model=MODEL, input="/slow 1000\n/long 60", background=True)
    assert client.responses.cancel(slow.id).status == "cancelled"


def resume_after_a_restart(server):
    client = server.client()
    stream = client.responses.create(model=MODEL, input="/slow 30\n/long 80", background=True, stream=True)
    seen = []
    for event in stream:
        seen.append(event)
        if sum(event.type == "response.output_text.delta" for event in seen) > 5:
            break
    stream.close()
    identity, last = seen[0].response.id, seen[-1].sequence_number
    # Cut off, and on again: not a letter is lost or comes twice.
    rest = client.responses.retrieve(identity, stream=True, starting_after=last)
    more = []
    for event in rest:
        more.append(event)
        if sum(event.type == "response.output_text.delta" for event in more) > 5:
            break
    rest.close()
    text = "".join(e.delta for e in seen + more if e.type == "response.output_text.delta")
    assert "word1 word2 word3 ".startswith(text[:18]) and text.split()[-1] == f"word{len(text.split())}", text
    server.kill()
    server.start()
    client = server.client()
    after = list(client.responses.retrieve(identity, stream=True, starting_after=more[-1].sequence_number))
    assert after[-1].type == "response.completed", after[-1]
    assert all(event.sequence_number > more[-1].sequence_number for event in after)
    text = "".join(event.delta for event in after if event.type == "response.output_text.delta")
    assert text == after[-1].response.output_text and text.endswith("word80.")


def conversations(server):
    client = server.client()
    items = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}]
    made = client.conversations.create(items=items, metadata={"a": "b"})
    answer = client.responses.create(model=MODEL, conversation=made.id, input="two")
    assert "a conversation of 3 messages" in answer.output_text
    texts = [item.content[0].text for item in client.conversations.items.list(made.id, order="asc")]
    assert texts[:3] == ["one", "1", "two"], texts
    assert client.conversations.retrieve(made.id).metadata == {"a": "b"}
    assert client.conversations.update(made.id, metadata={"c": "d"}).metadata == {"c": "d"}
    more = [{"role": "user", "content": "three"}, {"role": "assistant", "content": "3"}]
    added = client.conversations.items.create(made.id, items=more)
    assert [item.content[0].text for item in added.data] == ["three", "3"], added
    answer = client.responses.create(model=MODEL, conversation=made.id, input="four")
    assert "a conversation of 7 messages" in answer.output_text, answer.output_text
    assert client.conversations.delete(made.id).deleted


async def websocket(server):
    client = AsyncOpenAI(base_url=server.url, api_key=server.key)
    async with client.responses.connect() as connection:
        previous = None
        for store in [True, False, False]:
            await connection.response.create(
                model=MODEL, input="hello", store=store, previous_response_id=previous or openai.omit
            )
            async for event in connection:
                if event.type == "response.completed":
                    break
            assert "> hello" in event.response.output_text
            previous = event.response.id
        assert "a conversation of 5 messages" in event.response.output_text


def main():
    server = Server(sys.argv[1])
    checks = [
        models, chat, chat_streaming, chat_tools, chat_images, errors, retries, responses, responses_streaming,
        responses_tools, background, resume_after_a_restart, conversations,
        lambda server: asyncio.run(websocket(server)),
    ]
    try:
        for check in checks:
            check(server)
            name = check.__name__ if check.__name__ != "<lambda>" else "websocket"
            print(f"ok: {name}", flush=True)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
