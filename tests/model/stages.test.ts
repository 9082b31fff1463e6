/** Stage by stage: the input of each stage comes from another engine's record, the output is compared
 *  with its record (golden/README.md, rule 2), so that an error shows where it is made. */
import { describe, expect, test } from "bun:test"
import { join } from "node:path"
import type { Model } from "../../src/model/transformer.ts"
import type { Activations } from "../../src/model/scratch.ts"
import { openReference } from "../../src/ops/reference/index.ts"
import type { Tensor } from "../../src/ops/tensor.ts"
import { openModelFile } from "../../src/session/open.ts"
import { Runtime } from "../../src/session/runtime.ts"
import { sharedDir } from "../shared.ts"
import { forceRoutes } from "../support/forced.ts"
import { openTest } from "../support/models.ts"
import { readIds, relativeError } from "../support/numbers.ts"
import { Taps } from "../support/tap.ts"

const shared = sharedDir()
const golden = (name: string) => join(shared!, "golden", name)
const LAYERS = [0, 1, 2, 3, 4, 5]

/** That engine takes exact angles, ours are products in f32 (spec §7 allows both): off by up to
 *  pos · 2^-24 radians. */
const ROTATED = (pos: number) => 1e-6 + pos * 2 ** -26

/** Codes of FP8 blocks may differ where the input is on a boundary between two: an element is wrong
 *  only if it is off by more than one step of its block's grid. Returns the share of differing ones. */
function differing(ours: Float32Array, theirs: Float32Array): number {
  let n = 0
  for (let i = 0; i < theirs.length; i++) {
    if (ours[i] === theirs[i]) continue
    const off = Math.abs(ours[i]! - theirs[i]!)
    if (off > 1e-6 * Math.abs(theirs[i]!)) n++
  }
  return n / theirs.length
}

describe.skipIf(!shared)("reference, one stage at a time", () => {
  const taps = shared ? new Taps(golden("rand6-q2.f32.stages.tap")) : undefined!

  /** Runs `stage` for every layer and recorded position and checks its outputs at 1e-6. */
  function eachStage(
    stage: (m: Model, l: number, s: Activations, set: Setter) => void,
    outputs: Record<string, keyof Activations>,
    bound: (pos: number) => number = () => 1e-6,
  ) {
    const runtime = openTest(golden("rand6-q2.gguf"), "reference")
    const s = runtime.scratch.step(1)
    let worst = 0
    for (const l of LAYERS)
      for (const pos of taps.positions) {
        s.rows.i32().set([0, pos, 0, 0, 0])
        const set: Setter = (tensor, name) => tensor.f32().set(taps.f32(name, l, pos))
        stage(runtime.model, l, s, set)
        for (const [name, field] of Object.entries(outputs))
          worst = Math.max(
            worst,
            relativeError(s[field].f32(), taps.f32(name, l, pos)) / bound(pos),
          )
      }
    runtime.close()
    expect(worst).toBeLessThan(1)
  }
  type Setter = (tensor: Tensor, name: string) => void

  test("norms and the low-rank query", () => {
    eachStage(
      ({ ops, config: c, weights, freqs }, l, s, set) => {
        const w = weights.layers[l]!
        ops.ropeTable(s.rope, w.ratio === 0 ? freqs.raw : freqs.compressed, s.rows, 1)
        set(s.x, "attn_cur")
        ops.rmsNorm(s.xNorm, s.x, w.attn_norm, c.rmsEps)
        set(s.flat.slice(0, 1).reshape(1, s.flat.size), "after_attn_hc")
        const exact = s.xNorm.f32().slice()
        set(s.xNorm, "attn_norm")
        ops.matmul(s.qa, s.xNorm, w.attn_q_a)
        ops.rmsNorm(s.qr, s.qa, w.attn_q_a_norm, c.rmsEps)
        s.xNorm.f32().set(exact)
      },
      { attn_norm: "xNorm", qr_norm: "qr" },
    )
  })

  test("query heads and their rotation", () => {
    eachStage(
      ({ ops, config: c, weights, freqs }, l, s, set) => {
        const w = weights.layers[l]!
        ops.ropeTable(s.rope, w.ratio === 0 ? freqs.raw : freqs.compressed, s.rows, 1)
        set(s.qr, "qr_norm")
        ops.matmul(s.q, s.qr, w.attn_q_b)
        ops.rmsNorm(s.q, s.q, null, c.rmsEps)
        ops.ropeTail(s.q, s.rope)
        set(s.heads, "heads_prerope")
        ops.ropeTail(s.heads, s.rope, true)
        set(s.kv, "attn_out")
      },
      { q: "q", heads: "heads" },
      ROTATED,
    )
  })

  test("the latent row, with FP8 codes equal but for boundary cases", () => {
    const runtime = openTest(golden("rand6-q2.gguf"), "reference")
    const { ops, config: c, weights, freqs } = runtime.model
    const s = runtime.scratch.step(1)
    let differ = 0
    for (const l of LAYERS)
      for (const pos of taps.positions) {
        const w = weights.layers[l]!
        s.rows.i32().set([0, pos, 0, 0, 0])
        ops.ropeTable(s.rope, w.ratio === 0 ? freqs.raw : freqs.compressed, s.rows, 1)
        s.xNorm.f32().set(taps.f32("attn_norm", l, pos))
        ops.matmul(s.kv, s.xNorm, w.attn_kv)
        ops.rmsNorm(s.kv, s.kv, w.attn_kv_a_norm, c.rmsEps)
        expect(relativeError(s.kv.f32(), taps.f32("kv_prerope", l, pos))).toBeLessThan(1e-6)
        ops.ropeTail(s.kvHead, s.rope)
        ops.roundKv(s.kv, c.ropeDim)
        const plain = c.headDim - c.ropeDim // the rotated tail has that engine's angles
        const [ours, theirs] = [s.kv.f32(), taps.f32("kv", l, pos)]
        differ += differing(ours.subarray(0, plain), theirs.subarray(0, plain))
        const tail = relativeError(ours.subarray(plain), theirs.subarray(plain))
        expect(tail).toBeLessThan(ROTATED(pos) + 2 ** -11) // a step of f16
      }
    runtime.close()
    expect(differ / (LAYERS.length * taps.positions.length)).toBeLessThan(1e-3)
  })

  test("grouped output projection", () => {
    eachStage(
      ({ ops, config: c, weights }, l, s, set) => {
        set(s.heads, "heads")
        ops.matmul(s.low, s.heads, weights.layers[l]!.attn_output_a, c.oGroups)
        const low = s.low.f32().slice()
        set(s.low, "attn_low")
        ops.matmul(s.out, s.low, weights.layers[l]!.attn_output_b)
        s.low.f32().set(low)
      },
      { attn_low: "low", attn_out: "out" },
    )
  })

  test("hyper-connections before and after the experts", () => {
    eachStage(
      ({ ops, config: c, weights }, l, s, set) => {
        const w = weights.layers[l]!.hc_ffn
        set(s.streams, "after_attn_hc")
        ops.rmsNorm(s.flat, s.flatStreams, null, c.rmsEps)
        ops.matmul(s.mix, s.flat, w.fn)
        ops.hcSplit(s.pre, s.post, s.comb, s.mix, w.scale, w.base, c.hcSinkhornIters, c.hcEps)
        ops.hcCollapse(s.x, s.streams, s.pre)
      },
      { ffn_cur: "x", ffn_post: "post", ffn_comb: "comb" },
      () => 2e-6, // twenty Sinkhorn passes in f32 there
    )
    eachStage(
      ({ ops }, _l, s, set) => {
        set(s.streams, "after_attn_hc")
        set(s.out, "ffn_moe")
        set(s.shared, "ffn_shared")
        ops.add(s.out, s.out, s.shared)
        set(s.post, "ffn_post")
        set(s.comb, "ffn_comb")
        ops.hcExpand(s.streams, s.out, s.post, s.comb)
      },
      { out_hc: "streams" },
    )
  })

  test("experts and the shared expert", () => {
    eachStage(
      ({ ops, weights }, l, s, set) => {
        const w = weights.layers[l]!
        set(s.xNorm, "ffn_norm")
        set(s.expertWeights, "router_w")
        s.expertSel.i32().set(taps.i32("router_sel", l, s.rows.i32()[1]!))
        ops.expertsGateUp(
          s.expertHidden,
          s.xNorm,
          w.ffn_gate_exps,
          w.ffn_up_exps,
          s.expertSel,
          s.expertWeights,
          w.swigluClamp,
        )
        const hidden = s.expertHidden.f32().slice()
        set(s.expertHidden, "routed_mid")
        ops.expertsDown(s.out, s.expertHidden, w.ffn_down_exps, s.expertSel)
        s.expertHidden.f32().set(hidden)
        ops.matmul(s.sharedGate, s.xNorm, w.ffn_gate_shexp)
        ops.matmul(s.sharedUp, s.xNorm, w.ffn_up_shexp)
        ops.swiglu(s.sharedGate, s.sharedGate, s.sharedUp, w.swigluClampShared)
        ops.matmul(s.shared, s.sharedGate, w.ffn_down_shexp)
      },
      { routed_mid: "expertHidden", ffn_moe: "out", ffn_shared: "shared" },
      () => 2e-6, // SwiGLU in f32 there
    )
  })

  test("routing picks the recorded experts with the recorded weights", () => {
    const runtime = openTest(golden("rand6-q2.gguf"), "reference")
    const { ops, config: c, weights } = runtime.model
    const s = runtime.scratch.step(1)
    const ids = readIds(golden("rand6.ids.txt"))
    for (const l of LAYERS)
      for (const pos of taps.positions) {
        const w = weights.layers[l]!
        s.rows.i32().set([0, pos, ids[pos]!, 0, 0])
        s.xNorm.f32().set(taps.f32("ffn_norm", l, pos))
        ops.matmul(s.routerLogits, s.xNorm, w.ffn_gate_inp)
        const [sel, weight, logits] = [s.expertSel, s.expertWeights, s.routerLogits]
        if (w.ffn_gate_tid2eid)
          ops.routerHash(sel, weight, logits, w.ffn_gate_tid2eid, s.rows, c.expertWeightsScale)
        else ops.routerTopK(sel, weight, logits, w.exp_probs_b, c.expertWeightsScale)
        expect([...sel.i32()]).toEqual([...taps.i32("router_sel", l, pos)])
        expect(relativeError(weight.f32(), taps.f32("router_w", l, pos))).toBeLessThan(1e-6)
      }
    runtime.close()
  })
})

test.skipIf(!shared)(
  "attention, compressors and indexer follow the smooth run at 1e-4",
  () => {
    const smooth = new Taps(golden("rand6-q2.smooth.stages.tap"))
    const routes = new Taps(golden("rand6-q2.smooth.routes.tap"))
    const ids = readIds(golden("rand6.ids.txt"))
    const file = openModelFile({ path: golden("rand6-q2.gguf") })
    const backend = forceRoutes(openReference({ kvRounding: false }), routes, 6)
    const runtime = new Runtime(file, backend, { context: 1024 })
    const seq = runtime.sequence()
    const worst: Record<string, number> = {}
    const look = (name: string, tensor: Tensor, l: number, pos: number) => {
      const theirs = smooth.maybe(name, l, pos)
      if (!theirs) return
      worst[name] = Math.max(worst[name] ?? 0, relativeError(tensor.f32(), theirs))
    }
    for (let pos = 0; pos < ids.length; pos++) {
      const looked = smooth.positions.includes(pos)
      const onLayer = (l: number, s: Activations) => {
        if (!looked) return
        const fields: [string, keyof Activations][] = [
          ["attn_norm", "xNorm"],
          ["q", "q"],
          ["kv", "kv"],
          ["comp", "pooled"],
          ["index_comp", "pooledIndex"],
          ["index_q", "indexQ"],
          ["heads", "heads"],
          ["attn_low", "low"],
          ["out_hc", "streams"],
        ]
        for (const [name, field] of fields) if (name !== "attn_norm") look(name, s[field], l, pos)
      }
      for (const _ of runtime.steps(
        [{ seq, ids: [ids[pos]!], logits: "none" }],
        undefined,
        onLayer,
      ))
        void _
      seq.verify()
    }
    runtime.close()
    expect(Object.keys(worst).sort()).toContain("heads")
    for (const [name, error] of Object.entries(worst))
      expect([name, error < 1e-4]).toEqual([name, true])
  },
  180_000,
)
