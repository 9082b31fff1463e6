/** How long the main thread is held by large bodies. */
import { openServer } from "./server.ts"

const MIB = 2 ** 20
const chat = (content: string, more: object = {}) => ({
  path: "v1/chat/completions",
  body: JSON.stringify({ messages: [{ role: "user", content }], max_tokens: 1, ...more }),
})
const prose = (bytes: number) =>
  Array.from({ length: bytes / 8 }, (_, i) => `word${(i * 7919) % 9973} `)
    .join("")
    .slice(0, bytes)

function tools(n: number): object[] {
  return Array.from({ length: n }, (_, i) => ({
    type: "function",
    function: {
      name: `tool_${i}`,
      description: `Does thing ${i} to a file. `.repeat(8),
      parameters: {
        type: "object",
        properties: {
          path: { type: "string", description: "The path of the file." },
          mode: { enum: ["read", "write", `other${i}`] },
          options: { type: "object", properties: { n: { type: "integer", minimum: i } } },
        },
        required: ["path"],
      },
    },
  }))
}

/** A thousand levels is the deepest that is read. */
const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`

/** Bodies by name; made when it is their turn. */
const BODIES: Record<string, () => { path: string; body: string }> = {
  "100 KB of text": () => chat(prose(100_000)),
  "1 MiB of text": () => chat(prose(MIB)),
  "5 MiB of text": () => chat(prose(5 * MIB)),
  "31 MiB of text": () => chat(prose(31 * MIB)),
  "5 MiB of text, /tokenize": () => ({
    path: "tokenize",
    body: JSON.stringify({ content: prose(5 * MIB) }),
  }),
  "a word of 200,000 letters": () => chat("a".repeat(200_000)),
  "31 MiB of one letter": () => chat("a".repeat(31 * MIB)),
  "1,000 tools": () => chat("hi", { tools: tools(1000) }),
  "JSON 900 deep": () => ({
    path: "v1/chat/completions",
    body: `{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"metadata":${deep(900)}}`,
  }),
  "31 MiB of small JSON values": () => ({
    path: "v1/chat/completions",
    body: `{"messages":[{"role":"user","content":"hi"}],"max_tokens":1,"metadata":[${"1,".repeat(15 * MIB)}1]}`,
  }),
  "20,000 messages": () => ({
    path: "v1/chat/completions",
    body: JSON.stringify({
      max_tokens: 1,
      messages: Array.from({ length: 20_000 }, (_, i) => ({ role: "user", content: `m ${i}` })),
    }),
  }),
}

/** Sends each and prints the answer's status, its time, and the longest that the main thread stood still. */
export async function measureBodies(path: string): Promise<void> {
  const server = await openServer(path, { nSeqs: 1, context: 32768 })
  try {
    await server.stream([{ prompt: "warm", max_tokens: 8 }])
    for (const [name, make] of Object.entries(BODIES)) {
      const { path: at, body } = make()
      await Bun.sleep(50)
      let [last, longest] = [performance.now(), 0]
      const timer = setInterval(() => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
      }, 1)
      const start = performance.now()
      const response = await fetch(server.url + at, { method: "POST", body })
      const text = await response.text()
      const took = performance.now() - start
      await Bun.sleep(5)
      clearInterval(timer)
      const why = response.ok ? "" : `  ${text.slice(0, 100)}`
      console.log(
        `${name.padEnd(30)} ${response.status} after ${took.toFixed(0)} ms, ` +
          `longest pause ${longest.toFixed(0)} ms${why}`,
      )
    }
  } finally {
    await server.close()
  }
}
