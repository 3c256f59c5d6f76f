/** What the plugin asks about a pod beyond what the runtime says. `kube` answers it; tests may do with a table. */

/** PodFacts is what is known of a pod. */
export interface PodFacts {
  readonly labels: Readonly<Record<string, string>>;
  /** Those of the pod; where it has none of a name, those of its namespace. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** PodFactsSource knows the pods of this node. */
export interface PodFactsSource {
  /** podFacts returns what is known now; undefined for a pod that nobody told of yet. With a uid, not of another one that had its name. */
  podFacts(namespace: string, name: string, uid?: string): PodFacts | undefined;
  /** find waits for it a little, and asks. Rejects with an Error that says why there is no answer. */
  find(namespace: string, name: string, uid?: string): Promise<PodFacts>;
}
