/** What the server does under load. MODEL is served in this process, on a free port of loopback:
 *  `bun scripts/serve-load.ts streams MODEL`                  tokens a second at 1, 2, 4 and 8 streams
 *  `bun scripts/serve-load.ts latency MODEL [WORDS [TOKENS]]`  lateness of the main thread and of tokens
 *  `bun scripts/serve-load.ts bodies MODEL`                   pauses that large bodies cause
 *  Clients that go away: `DS4_DISCONNECTS=1000 bun test tests/server/disconnects.test.ts`. */
import { loadNative } from "../src/ops/open.ts"
import { measureBodies } from "./load/bodies.ts"
import { measureLatency } from "./load/latency.ts"
import { measureStreams } from "./load/streams.ts"

const [what, path, words = "1500", tokens = "200"] = process.argv.slice(2)
const measure = {
  streams: measureStreams,
  latency: (model: string) => measureLatency(model, Number(words), Number(tokens)),
  bodies: measureBodies,
}[what ?? ""]
if (!measure || !path) throw new Error("bun scripts/serve-load.ts streams|latency|bodies MODEL")
await loadNative()
await measure(path)
process.exit(0)
