/** A backend whose routers and indexer choose what an independent engine chose: so that near-ties in
 *  random models do not hide the arithmetic behind them. */
import type { Backend } from "../../src/ops/backend.ts"
import { ROW_WORDS } from "../../src/ops/shapes.ts"
import type { Tensor } from "../../src/ops/tensor.ts"
import type { Taps } from "./tap.ts"

/** Wraps a backend; `nLayers` tells which layer a router call belongs to. One sequence only. */
export function forceRoutes(backend: Backend, routes: Taps, nLayers: number): Backend {
  const { kernels } = backend
  let layer = 0
  let positions: number[] = []
  const readPositions = (rows: Tensor) => {
    const table = rows.i32()
    positions = Array.from({ length: rows.dims[0]! }, (_, r) => table[r * ROW_WORDS + 1]!)
  }
  const forceExperts = (sel: Tensor, weights: Tensor) => {
    const k = sel.dims[1]!
    positions.forEach((pos, r) => {
      sel.i32().set(routes.i32("router_sel", layer, pos), r * k)
      weights.f32().set(routes.f32("router_w", layer, pos), r * k)
    })
    layer = (layer + 1) % nLayers
  }
  return {
    ...backend,
    kernels: {
      ...kernels,
      embed(out, table, rows, ...sizes) {
        readPositions(rows)
        layer = 0
        kernels.embed(out, table, rows, ...sizes)
      },
      routerTopK(sel, weights, logits, bias, ...sizes) {
        kernels.routerTopK(sel, weights, logits, bias, ...sizes)
        forceExperts(sel, weights)
      },
      routerHash(sel, weights, ...rest) {
        kernels.routerHash(sel, weights, ...rest)
        forceExperts(sel, weights)
      },
      indexTopK(sel, ...rest) {
        kernels.indexTopK(sel, ...rest)
        const topK = sel.dims[1]!
        positions.forEach((pos, r) => {
          const chosen = routes.maybe("index_sel", layer, pos)
          if (chosen) sel.i32().set(chosen, r * topK)
        })
      },
    },
  }
}
