# Writing JSON: model files are read and checked by the library alone.

json(x) = (expect_finite(x); JSON.json(x))

expect_finite(x::Real) = isfinite(x) || throw(ArgumentError("numbers have to be finite, found $x"))
expect_finite(items::Union{AbstractVector,Tuple,NamedTuple}) = foreach(expect_finite, items)
expect_finite(items::AbstractDict) = foreach(expect_finite, values(items))
expect_finite(x) = x isa Unitful.Quantity ? throw(ArgumentError("numbers have to be without units here, found $x")) : nothing
