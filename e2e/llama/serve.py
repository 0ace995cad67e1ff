"""llama-cpp-python's own server, with a chat format that calls the first tool it is offered.

Models with trained weights decide that themselves; one of random weights has to be told. Everything else, the
grammar that makes the arguments fit their schema included, is the engine's.
"""

from llama_cpp import llama_chat_format
from llama_cpp.server.__main__ import main


@llama_chat_format.register_chat_completion_handler("first-tool")
def first_tool(llama, messages, tools=None, tool_choice=None, **rest):
    answered = messages[-1]["role"] == "tool"
    if tools and not answered:
        tool_choice = {"type": "function", "function": {"name": tools[0]["function"]["name"]}}
    return llama_chat_format.chatml_function_calling(
        llama=llama, messages=messages, tools=tools, tool_choice=tool_choice, **rest
    )


if __name__ == "__main__":
    main()
