// SPDX-License-Identifier: Apache-2.0
// Checks custom resources by the types of their operators. Reads a JSON list of objects from stdin; prints a JSON list of findings.
//
//     node custom_resources.mjs FOLDER_OF_NODE_MODULES < objects.json

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "monitoring.coreos.com/v1": "prometheus-operator/monitoring.coreos.com/v1",
  "keda.sh/v1alpha1": "keda/keda.sh/v1alpha1",
  "gateway.networking.k8s.io/v1": "gateway-api/gateway.networking.k8s.io/v1",
};
const folder = process.argv[2];
const found = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const models = await import(pathToFileURL(`${folder}/node_modules/@kubernetes-models/${PACKAGES[object.apiVersion]}/index.js`).href);
  try {
    new models[object.kind](object).validate();
  } catch (error) {
    found.push(`${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
console.log(JSON.stringify(found));
