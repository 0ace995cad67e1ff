// How clients are pointed at the gateway's doors, ready to be copied.

export interface Recipe {
  name: string;
  about: string;
  language: string;
  text: string;
}

/** The recipes for a gateway at this origin. */
export function recipes(origin: string): Recipe[] {
  const socket = origin.replace(/^http/, "ws");
  return [
    {
      name: "Native: HTTP, server-sent events, WebSocket",
      about: "Everything the gateway can do. The whole contract is /openapi.json.",
      language: "bash",
      text: `export MOONGATE_KEY=mg_api_…
curl ${origin}/api/v1/sessions -H "Authorization: Bearer $MOONGATE_KEY" \\
  -H 'Content-Type: application/json' -d '{"title": "from a script"}'`,
    },
    {
      name: "OpenAI SDKs, coding agents and everything like them",
      about: "Chat completions and responses. The model is an agent's name, or a model's.",
      language: "bash",
      text: `export OPENAI_BASE_URL=${origin}/openai/v1
export OPENAI_API_KEY=mg_api_…`,
    },
    {
      name: "Oxios 1.0.1",
      about: "Its web channel, beneath a prefix here or on a listener of its own ([doors.oxios] listen).",
      language: "bash",
      text: `curl -X POST ${origin}/oxios/api/chat/ticket -H "Authorization: Bearer $MOONGATE_KEY"
# then ${socket}/oxios/api/chat/stream?ticket=…`,
    },
    {
      name: "Construct",
      about: "Its chat socket. Devices are paired with a code, or use a key.",
      language: "bash",
      text: `${socket}/construct/ws/chat
# subprotocols: construct.v1, bearer.mg_api_…`,
    },
    {
      name: "orra 0.0.2",
      about: "Its gateway's socket and REST.",
      language: "bash",
      text: `${socket}/orra/ws
# subprotocols: orra.v1, bearer.mg_api_…`,
    },
    {
      name: "The command line",
      about: "On the gateway's own machine it finds server and key by itself.",
      language: "bash",
      text: `moongate chat "hello"
moongate sessions list`,
    },
  ];
}
