/** A layer loop of one's own: skip a layer, force experts, edit a stream, and see what becomes of the
 *  next token: `bun examples/own-loop.ts "The sky is"`. */
import { beginStep, Engine, forwardLayer, Ops, type Tensor } from "../src/index.ts"

const start = process.argv[2] ?? "The capital of France is"
const engine = await Engine.load({ path: `${import.meta.dir}/../models/ds4-mini/ds4-mini-q8.gguf` })
const { runtime, tokenizer } = engine
const messages = [{ role: "user", content: "Tell me something." }]
const { ids: prompt } = engine.prompt({ messages }, { thinking: false })
const ids = [...prompt, ...tokenizer.encode(start)] // words put into the model's mouth
const layers = [...runtime.model.weights.layers.keys()]

/** Logits after the last id. This is all that a step is; Runtime.steps does the same. */
function run(model = runtime.model, order = layers, edit?: (layer: number, x: Tensor) => void) {
  const work = [{ seq: runtime.sequence(), ids, logits: "last" as const }]
  const { s, rows } = runtime.begin(work) // takes KV pages, writes the table of rows
  beginStep(model, s) // embeds the tokens into s.streams [n, hcMult, dim]
  for (const layer of order) {
    forwardLayer(model, layer, runtime.kv.layers[layer]!, s, rows)
    edit?.(layer, s.streams)
  }
  runtime.advance(work)
  const logits = runtime
    .logits(s, [ids.length - 1])
    .f32()
    .slice()
  runtime.release(work[0]!.seq)
  return logits
}

/** Ops are methods, so a model can be given others. Here the router by score is overruled. */
class ForcedExperts extends Ops {
  override routerTopK(sel: Tensor, ...rest: [Tensor, Tensor, Tensor | null, number]): void {
    super.routerTopK(sel, ...rest)
    sel.i32().forEach((_, i, chosen) => (chosen[i] = i % sel.dims[1]!)) // always experts 0, 1, …
  }
}
const forced = { ...runtime.model, ops: new ForcedExperts(runtime.backend) }

/** A view of the streams is their memory: what is written here, the next layer reads. */
function silence(layer: number, streams: Tensor): void {
  const [n, hc, dim] = streams.dims as [number, number, number]
  if (layer !== 2) return
  for (let r = 0; r < n; r++) streams.f32().fill(0, r * hc * dim, (r * hc + 1) * dim)
}

const plain = run()
show("as trained", plain)
for (const l of layers) show(`without layer ${l}`, run(runtime.model, layers.toSpliced(l, 1)))
show("experts 0 and 1 forced", run(forced))
show("one stream silenced", run(runtime.model, layers, silence))
engine.close()

/** The likeliest token, and how far the logits moved. */
function show(what: string, logits: Float32Array): void {
  const best = logits.indexOf(Math.max(...logits))
  const squares = logits.reduce((sum, v, i) => sum + (v - plain[i]!) ** 2, 0)
  const moved = Math.sqrt(squares / logits.length).toFixed(3)
  console.log(`${what.padEnd(26)}${moved}  ${JSON.stringify(tokenizer.decode([best]))}`)
}
