/** Mixture of experts: a router picks nExpertsUsed of the routed experts for each token, by score or
 *  by a table of token ids; one shared expert sees every token. Spec §11. */
import type { Activations } from "./scratch.ts"
import type { Model } from "./transformer.ts"
import type { LayerWeights } from "./weights.ts"

/** s.out [nRows, dim] = Σ routed experts + shared expert of s.xNorm [nRows, dim]. */
export function moe(m: Model, w: LayerWeights, s: Activations): void {
  const { ops } = m
  route(m, w, s)
  ops.expertsGateUp(
    s.expertHidden,
    s.xNorm,
    w.ffn_gate_exps,
    w.ffn_up_exps,
    s.expertSel,
    s.expertWeights,
    w.swigluClamp,
  )
  ops.expertsDown(s.out, s.expertHidden, w.ffn_down_exps, s.expertSel)
  sharedExpert(m, w, s)
  ops.add(s.out, s.out, s.shared)
}

/** s.expertSel and s.expertWeights [nRows, nExpertsUsed]. */
function route({ ops, config: c }: Model, w: LayerWeights, s: Activations): void {
  const scale = c.expertWeightsScale
  ops.matmul(s.routerLogits, s.xNorm, w.ffn_gate_inp)
  if (w.ffn_gate_tid2eid)
    ops.routerHash(s.expertSel, s.expertWeights, s.routerLogits, w.ffn_gate_tid2eid, s.rows, scale)
  else ops.routerTopK(s.expertSel, s.expertWeights, s.routerLogits, w.exp_probs_b, scale)
}

/** s.shared [nRows, dim] = down · (SwiGLU of gate and up). */
function sharedExpert({ ops }: Model, w: LayerWeights, s: Activations): void {
  ops.matmul(s.sharedGate, s.xNorm, w.ffn_gate_shexp)
  ops.matmul(s.sharedUp, s.xNorm, w.ffn_up_shexp)
  ops.swiglu(s.sharedGate, s.sharedGate, s.sharedUp, w.swigluClampShared)
  ops.matmul(s.shared, s.sharedGate, w.ffn_down_shexp)
}
