# Writing JSON: model files are read and checked by the library alone.

json(x) = (expect_finite(x); JSON.json(x))

expect_finite(x::Real) = isfinite(x) || throw(ArgumentError("a model's numbers have to be finite, found $x"))
expect_finite(items::Union{AbstractVector,Tuple,NamedTuple}) = foreach(expect_finite, items)
expect_finite(_) = nothing
