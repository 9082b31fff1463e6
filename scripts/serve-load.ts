/** What the server does under load. */
import { loadNative } from "../src/ops/open.ts"
import { measureBodies } from "./load/bodies.ts"
import { measureLatency } from "./load/latency.ts"
import { measureStreams } from "./load/streams.ts"

await loadNative()
const [what, path, words, tokens] = process.argv.slice(2)
if (what === "streams") await measureStreams(path!)
if (what === "bodies") await measureBodies(path!)
if (what === "latency") await measureLatency(path!, Number(words ?? 1500), Number(tokens ?? 200))
process.exit(0)
