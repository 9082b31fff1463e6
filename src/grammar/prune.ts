/** Takes out of a grammar what nothing satisfies, so that no text can run into it. */
import type { Node } from "./nodes.ts"

/** Whether some text of finite length satisfies a grammar; if so, every way into it can be gone on with. */
export function satisfiable(root: Node): boolean {
  const all = reachable(root)
  const good = new Set<Node>()
  for (let before = -1; before < good.size;) {
    before = good.size
    for (const node of all) if (!good.has(node) && isGood(node, good)) good.add(node)
  }
  for (const node of all) {
    if (node.kind === "choice") node.items = node.items.filter((item) => good.has(item))
    if (node.kind === "repeat" && !good.has(node.item)) node.max = 0
    if (node.kind === "until" && node.then && !good.has(node.then)) node.then = null
    if (node.kind === "shuffle") node.items = node.items.filter((item) => good.has(item.node))
  }
  return good.has(root)
}

/** All nodes, each after those it is made of where they do not hold it themselves: so one pass finds
 *  nearly all that is good. */
function reachable(root: Node): Node[] {
  const seen = new Set<Node>([root])
  const out: Node[] = []
  const open: [node: Node, children: Iterator<Node>][] = [[root, childrenOf(root).values()]]
  for (let top = open.at(-1); top; top = open.at(-1)) {
    const { value: child, done } = top[1].next()
    if (done) out.push(open.pop()![0])
    else if (!seen.has(child)) {
      seen.add(child)
      open.push([child, childrenOf(child).values()])
    }
  }
  return out
}

function childrenOf(node: Node): readonly Node[] {
  switch (node.kind) {
    case "sequence":
    case "choice":
      return node.items
    case "shuffle":
      return node.items.map((item) => item.node)
    case "repeat":
      return [node.item]
    case "link":
      return node.target ? [node.target] : []
    case "until":
      return node.then ? [node.then] : []
    default:
      return []
  }
}

function isGood(node: Node, good: ReadonlySet<Node>): boolean {
  switch (node.kind) {
    case "sequence":
      return node.items.every((item) => good.has(item))
    case "choice":
      return node.items.some((item) => good.has(item))
    case "shuffle":
      return node.items.every((item) => !item.isRequired || good.has(item.node))
    case "repeat":
      return node.min === 0 || good.has(node.item)
    case "link":
      return node.target !== null && good.has(node.target)
    case "until":
      return node.mayEnd || (node.then !== null && good.has(node.then))
    case "set":
      return node.bits.some((word) => word !== 0)
    case "tree":
      return node.ends || node.next.size > 0
    default:
      return true
  }
}
