module ACERustEquivariantTensorsExt

using ACERust: ACERust, ACERustModel, InteractionGraph
import EquivariantTensors as ET

"The graph of EquivariantTensors, its edges taken over as they are."
function ACERust.InteractionGraph(G::ET.ETGraph)
    numbers = [ACERust.element(x.z) for x in G.node_data]
    return ACERust.graph_from_edges(numbers, G.first, G.jj, [x.𝐫 for x in G.edge_data])
end

(model::ACERustModel)(G::ET.ETGraph, ps = nothing, st = nothing) = model(InteractionGraph(G), ps, st)
for f in (:site_energies, :site_grads, :site_basis, :site_basis_jacobian)
    @eval ACERust.$f(model::ACERustModel, G::ET.ETGraph, ps = nothing, st = nothing) = ACERust.$f(model, InteractionGraph(G), ps, st)
end

end
