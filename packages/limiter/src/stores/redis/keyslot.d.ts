declare module 'cluster-key-slot' {
  /** The Cluster slot of a key, honouring a {tag}. */
  const slot: { (key: string): number; generateMulti(keys: string[]): number }
  export default slot
}
